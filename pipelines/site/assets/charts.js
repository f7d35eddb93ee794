import {init, use} from "echarts/core";
import {BarChart, HeatmapChart, LineChart, RadarChart} from "echarts/charts";
import {AriaComponent, GridComponent, LegendComponent, MarkLineComponent, RadarComponent, TooltipComponent, VisualMapComponent} from "echarts/components";
import {SVGRenderer} from "echarts/renderers";

use([BarChart, HeatmapChart, LineChart, RadarChart, AriaComponent, GridComponent, LegendComponent, MarkLineComponent, RadarComponent, TooltipComponent,
     VisualMapComponent, SVGRenderer]);
window.lakeCharts = {init};
